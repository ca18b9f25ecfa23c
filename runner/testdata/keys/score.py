score.py
